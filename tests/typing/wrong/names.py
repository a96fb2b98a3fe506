"""Names that are not at the top of minidl."""

from __future__ import annotations

import minidl
from minidl import History  # error: [attr-defined] has no attribute "History"

minidl.Normal(0, 1)  # error: [attr-defined] Module has no attribute "Normal"
minidl.callbacks.Stop(History())  # error: [attr-defined] Module has no attribute "Stop"
