"""Names that a language, or the program in it, uses itself: a function with such a name would not work."""

from __future__ import annotations

from keyword import kwlist

_FUNCTIONS = """
acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax fmin
fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter
nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc
"""

C = f"""
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main
HUGE_VAL HUGE_VALF HUGE_VALL INFINITY NAN double_t float_t fpclassify isfinite isgreater isgreaterequal isinf isless
islessequal islessgreater isnan isnormal isunordered math_errhandling signbit
asm typeof linux unix gamma signgam j0 j1 jn y0 y1 yn
{" ".join(f"{name} {name}f {name}l" for name in _FUNCTIONS.split())}
"""
"""Keywords of C99, what ``math.h`` declares, in each of its three types, and what compilers add by default."""

JAVASCRIPT = """
arguments await break case catch class const continue debugger default delete do else enum eval export extends false
finally for function if implements import in instanceof interface let new null package private protected public return
static super switch this throw true try typeof var void while with yield Array Infinity Math erfc
"""
"""Words that a module may not declare, and what the program uses."""

PYTHON = " ".join([*kwlist, "erfc", "int", "len", "math", "np", "sigmoid"])
"""Keywords, and what the module uses."""
