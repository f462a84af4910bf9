"""The exception tree of the node.

Every exception the node raises on purpose is permanent or transient, and whoever retries reads
only that::

    NodeError
    ├── PermanentError          the input or the configuration is at fault: a retry changes nothing
    │   ├── ConfigError         config.loader: a settings file that cannot be used
    │   ├── Rejection           pipeline.errors: a study that cannot be measured, and why
    │   ├── NoRemoteMyocardium  pipeline.scar: no myocardium to set a threshold of scar by
    │   ├── WeightsError        models.registry: weights missing, altered or of another shape
    │   ├── SplitError          models.split: a patient on two sides, or one never to be fitted
    │   ├── CaseError           models.training.cases: a labelled case that cannot be used
    │   ├── NoDataError         models.training.tasks: none of the sets to learn from is there
    │   ├── StorageInUse, StorageUnusable, StorageMissing, SchemaTooNew, StorageReadOnly,
    │   │   OriginalsDeleted, UnknownSeries, LeaseLost
    │   │                       storage.errors: what the data folder or a claim no longer allows
    │   ├── InvalidTable        dicom_node.prepare: a CSV of volumes, or a row of it, of no use
    │   └── InvalidAddress, CannotListen, MalformedDataSet
    │                           dicom_node.errors: an address, a port, a data set of no use
    └── TransientError          may pass: try again later
        ├── StorageFull, StorageFault
        │                       storage.errors: no space left, or the database failed
        ├── NotYetCovered       pipeline.errors: the stack still ends inside the ventricle
        └── PeerUnavailable     dicom_node.errors: a peer does not answer or refuses for now
"""


class NodeError(Exception):
    """Base of every exception the node raises on purpose."""


class PermanentError(NodeError):
    """The input or the configuration is at fault; a retry changes nothing."""


class TransientError(NodeError):
    """May pass by itself; worth a retry with growing delay."""


class ConfigError(PermanentError):
    """A settings file that cannot be used; the message names each key and what is allowed."""
