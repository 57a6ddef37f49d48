"""The steps that a plan is made of: each one says what it is, in the words that a person reads before it is done.

A pure module. Not responsible for: which steps there are to be (`plan.py`, `removal.py`), doing them (`carry.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFolder:
    """A folder, with what is above it being there."""

    path: str

    def __str__(self) -> str:
        return f"make the folder {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    """A file, replaced as a whole. `what` it is, in words."""

    path: str
    content: str
    what: str

    def __str__(self) -> str:
        return f"write {self.path}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link at `path`."""

    path: str
    target: str

    def __str__(self) -> str:
        return f"link {self.path} to {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKernel:
    """A setting of the running kernel, by its sysctl name."""

    key: str
    value: int

    def __str__(self) -> str:
        return f"set {self.key} to {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A program of the system. `why`, in words."""

    command: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"run {' '.join(self.command)}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFile:
    """A file or a link."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFolder:
    """A folder if it is empty; or with all that is in it. With `keep`, what is in it, but for these names."""

    path: str
    with_content: bool = False
    keep: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.keep:
            return f"remove what is in the folder {self.path}, but for {', '.join(self.keep)}"
        return f"remove the folder {self.path} {'with all that is in it' if self.with_content else 'if it is empty'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that only a person can do, or should know."""

    text: str

    def __str__(self) -> str:
        return f"note: {self.text}"


Step = MakeFolder | WriteFile | Link | SetKernel | Run | RemoveFile | RemoveFolder | Note
