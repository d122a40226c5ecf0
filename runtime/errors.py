"""What can go wrong while running a variant: one root, classes by whose fault it is.

RuntimeFault
├── InvalidTensor       the caller's: a tensor is not what the signature says (names tensor, problem, expectation)
├── InvalidBody         the caller's: a body or event cannot be parsed
│   └── UnknownEncoding the caller's: it is compressed, or encoded in another way that is not read
├── UnknownModel        the caller's: there is no model, version or path of this name
├── WrongMethod         the caller's: the path is served, by other methods
├── CrossSite           the caller's: a page of another site had a browser ask
├── AlreadyLoaded       the caller's: a model of this name is loaded
├── Expired             nobody's: the deadline passed before it ran
│   └── TooStrict       the caller's: no run ends by the deadline, whatever else is to be done
├── Refused             ours: there is no capacity by the deadline; says when to try again
├── NotServing          ours: the server is starting or stopping
├── CorruptArtifact     the storage's: a variant's bytes do not match their digest
│   └── Unsigned        the publisher's: nobody whom this environment trusts has signed the variant
├── ExecutionFailed     the variant's: ONNX Runtime cannot load it, or fails on these inputs
│   └── Unreadable      the storage's: it cannot be reached or read now; the bytes may well be sound
├── Unloadable          the model's: it cannot be loaded, whatever it is asked
├── NoRoom              ours: the variant does not fit beside what is in use
├── Defect              ours: something failed that nobody foresaw
├── NoProvider          the operator's: an execution provider is not to be had here
├── PoolTooLate         ours: the global thread pool is asked for after the first session, or twice
└── ReplyTooLarge       the variant's: the outputs do not fit in one reply

Class names travel: the Lambda runtime reports them as `errorType`, and the gateway maps them back.
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Root of every error that the runtime raises."""


class InvalidTensor(RuntimeFault, ValueError):
    """A tensor is not what the signature says; carries the tensor's name, the problem and what was expected."""

    def __init__(self, tensor: str, problem: str, expected: str) -> None:
        super().__init__(f"{tensor}: {problem}; expected {expected}")
        self.tensor = tensor
        self.problem = problem
        self.expected = expected


class InvalidBody(RuntimeFault, ValueError):
    """A body or event is not in the protocol's form."""


class UnknownEncoding(InvalidBody):
    """A body is in a content encoding that the server does not read."""


class UnknownModel(RuntimeFault, LookupError):
    """No model, version or path of this name is there."""


class WrongMethod(RuntimeFault):
    """The path is served by other methods, which `allowed` names."""

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class CrossSite(RuntimeFault):
    """A page of another site had its reader's browser ask: its own requests are not for it to send."""


class AlreadyLoaded(RuntimeFault):
    """A model of this name is loaded already; unload it first."""


class Expired(RuntimeFault):
    """The deadline passed before the request ran, and it never will."""


class TooStrict(Expired):
    """No run ends by the deadline, even if nothing else was to be done: another try would be in vain."""


class Refused(RuntimeFault):
    """There is no capacity for the request by its deadline; `retry_after_s` is when there may be."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotServing(RuntimeFault):
    """The server is starting or stopping, and takes no work."""


class CorruptArtifact(RuntimeFault):
    """A variant's bytes do not match their digest; they must not be run."""


class Unsigned(CorruptArtifact):
    """A variant carries no signature of the key that this environment asks for; it must not be run."""


class ExecutionFailed(RuntimeFault):
    """ONNX Runtime refused the graph or failed on the inputs; the message is its reason."""


class Unreadable(ExecutionFailed):
    """The storage did not give a variant's bytes; whoever treats it as a failed run does right, for another try may do.

    It is no CorruptArtifact: that would bar a sound variant for good.
    """


class Unloadable(RuntimeFault):
    """A model cannot be loaded: its graph is refused, or is not what it is said to be."""


class NoRoom(RuntimeFault):
    """The variant does not fit in the memory budget beside what is in use or pinned."""


class Defect(RuntimeFault):
    """Something failed that nobody foresaw: a mistake of this platform's, or of a library's."""


class NoProvider(RuntimeFault):
    """An execution provider that is configured is not to be had here; the message says what is missing."""


class PoolTooLate(RuntimeFault):
    """The global thread pool must be made once, before the first session of the process."""


class ReplyTooLarge(RuntimeFault):
    """The outputs do not fit in one reply of an invocation."""
