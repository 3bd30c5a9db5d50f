"""What can go wrong with rings and builders lives here; texts shown to people are made where the fault is found."""


class RingError(Exception):
    """Base of every error of this room."""


class RingFileError(RingError, ValueError):
    """A ring file is damaged, truncated or of an unknown kind (spec ring 5.4)."""


class RingLoadError(RingError):
    """A ring is readable but its user refuses it, e.g. an EC policy with another replica count (14.1)."""


class RingBuilderError(RingError):
    """Base of everything a builder refuses to do; the message is fit to be shown."""


class BuilderFileError(RingBuilderError):
    """The builder file is not a pickle of plain data (10.2: "Ring Builder file is invalid")."""


class BuilderStateError(RingBuilderError):
    """The builder file is a pickle, but keys are missing or senseless (10.2: "Problem occurred ...")."""


class BuilderLockedError(RingBuilderError):
    """Another command holds the lock of the builder's directory."""


class DuplicateDeviceError(RingBuilderError):
    """A device id is in use already (6.5)."""


class EmptyRingError(RingBuilderError):
    """No device has any weight (7.2)."""


class RingValidationError(RingBuilderError):
    """The tables contradict the devices or themselves (7.11)."""
