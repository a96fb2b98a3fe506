"""Names that are not at the top of minidl."""

from __future__ import annotations

import minidl
from minidl.trainer import History

minidl.Normal(0, 1)  # error: [attr-defined] Module has no attribute "Normal"
minidl.callbacks.Stop(History())  # error: [attr-defined] Module has no attribute "Stop"
