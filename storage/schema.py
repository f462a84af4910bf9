"""The tables, and the version of their layout.

One row of `instances` is one version of a SOP instance: the same UID with other content is another
row, and `is_current` tells which one counts. `carried` says which association brought what, also
when it brought it again. A stack is what becomes one job at a time; a job's results go to the
outbox, one row for each destination.

Layout 2 added `studies.fault`: why a study could not be assessed, until it is. Layout 3 added
`outbox.offered_at`: when a destination was first sent an object, confirmed or not; and
`jobs.supersedes`: the results that may have been in an archive when the job was started.
"""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    inspect,
    true,
)
from sqlalchemy.schema import SchemaItem

from storage.errors import SchemaTooNew
from storage.states import (
    AssociationState,
    DeliveryState,
    JobState,
    ResultState,
    StackState,
)

SCHEMA_VERSION = 3


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept as ISO 8601 text in UTC: it sorts, and reads well in any tool."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return what the database keeps; `ValueError` for a time without time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without time zone; storage takes aware times only")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the aware time."""
        return None if value is None else datetime.fromisoformat(value)


def _state(states: type[StrEnum]) -> Enum:
    return Enum(
        states,
        values_callable=lambda members: [str(member) for member in members],
        native_enum=False,
        length=16,
    )


metadata = MetaData()


def _table(name: str, *columns: SchemaItem) -> Table:
    """Table whose rows have an id that is never given twice."""
    key = Column("id", Integer, primary_key=True)
    return Table(name, metadata, key, *columns, sqlite_autoincrement=True)


def _links(name: str, *columns: SchemaItem) -> Table:
    """Table whose rows tie others together, found by its primary key alone."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


associations = _table(
    "associations",
    Column("calling_ae_title", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("state", _state(AssociationState), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
)

studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", Text, primary_key=True),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("assessed_changes", Integer, nullable=False),
    Column("fault", Text),
)
Index(
    "studies_to_assess",
    studies.c.study_instance_uid,
    sqlite_where=studies.c.changes > studies.c.assessed_changes,
)

instances = _table(
    "instances",
    Column("sop_instance_uid", Text, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("is_current", Boolean, nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False, index=True),
    Column("study_instance_uid", Text, nullable=False, index=True),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("header_json", Text, nullable=False),
    Column("path", Text, nullable=False, index=True),
    Column("association_id", ForeignKey("associations.id"), nullable=False),
    Column("calling_ae_title", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("written_at", UtcDateTime, nullable=False),
    Column("file_deleted_at", UtcDateTime),
    UniqueConstraint("sop_instance_uid", "digest"),
)
Index(
    "one_current_version",
    instances.c.sop_instance_uid,
    unique=True,
    sqlite_where=instances.c.is_current == true(),
)

carried = _links(
    "carried",
    Column("instance_id", ForeignKey("instances.id"), primary_key=True),
    Column("association_id", ForeignKey("associations.id"), primary_key=True),
    Column("received_at", UtcDateTime, nullable=False),
)

stacks = _table(
    "stacks",
    Column("study_instance_uid", Text, nullable=False, index=True),
    Column("pipeline", Text),
    Column("source_ae_titles", Text, nullable=False),
    Column("state", _state(StackState), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("input_digest", Text, nullable=False),
    Column("computed_input_digest", Text),
    Column("deferred_input_digest", Text),
    Column("completed_job_id", Integer),
    Column("result_seed", Text),
    Column("generation", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

stack_series = _links(
    "stack_series",
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("series_instance_uid", Text, primary_key=True, index=True),
)

stack_instances = _links(
    "stack_instances",
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), primary_key=True, index=True),
)

jobs = _table(
    "jobs",
    Column("stack_id", ForeignKey("stacks.id"), nullable=False, index=True),
    Column("state", _state(JobState), nullable=False),
    Column("trigger", Text, nullable=False),
    Column("early", Boolean, nullable=False),
    Column("input_digest", Text, nullable=False),
    Column("result_seed", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("lease", Text),
    Column("lease_owner", Text),
    Column("lease_expires_at", UtcDateTime),
    Column("rejection_code", Text),
    Column("finished_at", UtcDateTime),
    Column("summary_json", Text),
    Column("supersedes", Text),
)
Index("jobs_by_state", jobs.c.state, jobs.c.not_before)

job_inputs = _links(
    "job_inputs",
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), primary_key=True, index=True),
)

results = _table(
    "results",
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("stack_id", ForeignKey("stacks.id"), nullable=False, index=True),
    Column("state", _state(ResultState), nullable=False),
    Column("role", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False, index=True),
    Column("sop_class_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
    Column("path", Text, nullable=False, index=True),
    Column("sha256", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("file_deleted_at", UtcDateTime),
)

outbox = _table(
    "outbox",
    Column("result_id", ForeignKey("results.id"), nullable=False, index=True),
    Column("destination", Text, nullable=False),
    Column("state", _state(DeliveryState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("remark", Text),
    Column("offered_at", UtcDateTime),
)
Index("deliveries_by_state", outbox.c.destination, outbox.c.state)


_STEPS = {
    1: ("ALTER TABLE studies ADD COLUMN fault TEXT",),
    2: (
        "ALTER TABLE jobs ADD COLUMN supersedes TEXT",
        "ALTER TABLE outbox ADD COLUMN offered_at VARCHAR(32)",
        # What was never tried and is stopped was never offered; of the rest nobody knows.
        "UPDATE outbox SET offered_at = created_at WHERE attempts > 0 OR state = 'pending'",
    ),
}
"""What brings a layout to the next one."""


def check_version(connection: Connection) -> int:
    """Return the layout's version, 0 for an empty database.

    Raises
    ------
    SchemaTooNew
        The database was written by a newer version of the node.
    """
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"the database has layout {version}, this version of the node knows up to "
            f"{SCHEMA_VERSION}; start the newer version, or another data folder"
        )
    return version


def create(connection: Connection) -> None:
    """Make the tables in an empty database, or bring older ones up to date.

    All in the caller's transaction.
    """
    version = check_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        if inspect(connection).get_table_names():
            return
        metadata.create_all(connection)
    else:
        for layout in range(version, SCHEMA_VERSION):
            for statement in _STEPS[layout]:
                connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
