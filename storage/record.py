"""The record of one received instance: a new one, one known already, or another version of one."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from storage.database import insert_row
from storage.schema import carried, instances, outbox, results, stack_instances, stacks, studies
from storage.states import UNSETTLED_DELIVERY_STATES, DeliveryState, StackState

SENT_AGAIN = "sent again: waits for the end of the transfer"


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to store.

    Attributes
    ----------
    sop_instance_uid, sop_class_uid, series_instance_uid, study_instance_uid : str
        Identity, as received.
    transfer_syntax_uid : str
        How the data set is encoded.
    digest : str
        SHA-256 (lower-case hexadecimal) of transfer syntax and data set.
    header_json : str
        Header summary; opaque here.
    association_id : int
        What `Instances.open_association` returned for the association that carries it.
    calling_ae_title : str
        The peer that sent it.
    received_at : datetime
        Aware.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    header_json: str
    association_id: int
    calling_ae_title: str
    received_at: datetime


class StoreKind(StrEnum):
    """What an instance turned out to be."""

    NEW = "new"
    DUPLICATE = "duplicate"
    NEW_VERSION = "new_version"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a record says: the kind, and the path of the version that was current before."""

    kind: StoreKind
    previous_path: str | None = None


_VERSIONS = select(
    instances.c.id,
    instances.c.digest,
    instances.c.is_current,
    instances.c.study_instance_uid,
    instances.c.path,
    instances.c.file_deleted_at,
).where(instances.c.sop_instance_uid == bindparam("uid"))

_SET = update(instances).where(instances.c.id == bindparam("instance"))

_STACKS_OF_INSTANCE = select(stack_instances.c.stack_id).where(
    stack_instances.c.instance_id == bindparam("instance")
)

_WAKE = (
    update(stacks)
    .where(
        stacks.c.id.in_(_STACKS_OF_INSTANCE),
        stacks.c.state.in_((StackState.PARKED, StackState.REJECTED)),
    )
    .values(state=StackState.WAITING, reason=SENT_AGAIN, changed_at=bindparam("now"))
)

_DELIVER_AGAIN = (
    update(outbox)
    .where(
        outbox.c.state.in_(UNSETTLED_DELIVERY_STATES),
        outbox.c.result_id.in_(
            select(results.c.id).where(results.c.stack_id.in_(_STACKS_OF_INSTANCE))
        ),
    )
    .values(state=DeliveryState.PENDING, attempts=0, settled_at=None, created_at=bindparam("now"))
)

_LOOK_AGAIN = (
    update(studies)
    .where(
        studies.c.study_instance_uid == bindparam("study"),
        studies.c.fault.is_not(None)
        | exists().where(
            stacks.c.id.in_(_STACKS_OF_INSTANCE), stacks.c.state == StackState.UNROUTED
        ),
    )
    .values(changes=studies.c.changes + 1)
)

_CARRY = upsert(carried)
_CARRY = _CARRY.on_conflict_do_update(set_={"received_at": _CARRY.excluded.received_at})

_TOUCH = upsert(studies)
_TOUCH = _TOUCH.on_conflict_do_update(
    set_={"changed_at": _TOUCH.excluded.changed_at, "changes": studies.c.changes + 1}
)


def record(connection: Connection, new: NewInstance, path: str, *, written: bool) -> Recorded:
    """Record one instance whose file is on the disk.

    What has no result is tried again when any image of it is sent again, changed or not: that is
    what an admin does who has put right a cause outside the images (memory, weights, a route, a
    fault cured by a newer version). A stack that was parked or rejected waits again; a study whose
    assessment failed, or whose image no pipeline took, is looked at again. A measured stack is
    not measured again, but what of it is parked or pending is delivered with all patience anew.

    No loop follows where an archive sends everything back that it gets: what is parked, rejected
    or left alone sends nothing, and each transfer wakes a stack once, since it is started after
    the end of the transfer only (`SENT_AGAIN`). A delivery is parked after days only.

    Parameters
    ----------
    connection : Connection
        Of a writing transaction.
    new : NewInstance
        What is known of it.
    path : str
        The file, relative to the data folder.
    written : bool
        Whether the file was written just now, rather than found.
    """
    versions = connection.execute(_VERSIONS, {"uid": new.sop_instance_uid}).all()
    same = next((row for row in versions if row.digest == new.digest), None)
    current = next((row for row in versions if row.is_current), None)
    if current is not None and current is not same:
        connection.execute(_SET.values(is_current=False), {"instance": current.id})
    if same is None:
        instance_id = _insert(connection, new, path)
    else:
        instance_id = same.id
        _bring_back(connection, same, new.received_at, written=written)
    _note_carrier(connection, instance_id, new)
    return _conclude(connection, new, same, current, written=written)


def _insert(connection: Connection, new: NewInstance, path: str) -> int:
    row = asdict(new) | {"is_current": True, "path": path, "written_at": new.received_at}
    return insert_row(connection, instances, row)


def _bring_back(
    connection: Connection, same: Row[*tuple[Any, ...]], received_at: datetime, *, written: bool
) -> None:
    """Make a known version the current one, with a file again if it had lost it."""
    values: dict[str, Any] = {}
    if not same.is_current:
        values["is_current"] = True
    if written or same.file_deleted_at is not None:
        values |= {"written_at": received_at, "file_deleted_at": None}
    if values:
        connection.execute(_SET.values(values), {"instance": same.id})
    connection.execute(_WAKE, {"instance": same.id, "now": received_at})
    connection.execute(_DELIVER_AGAIN, {"instance": same.id, "now": received_at})
    connection.execute(_LOOK_AGAIN, {"instance": same.id, "study": same.study_instance_uid})


def _note_carrier(connection: Connection, instance_id: int, new: NewInstance) -> None:
    row = {
        "instance_id": instance_id,
        "association_id": new.association_id,
        "received_at": new.received_at,
    }
    connection.execute(_CARRY, row)


def _conclude(
    connection: Connection,
    new: NewInstance,
    same: Row[*tuple[Any, ...]] | None,
    current: Row[*tuple[Any, ...]] | None,
    *,
    written: bool,
) -> Recorded:
    if same is not None and current is same:
        if written or same.file_deleted_at is not None:
            _touch(connection, {same.study_instance_uid}, new.received_at)
        return Recorded(StoreKind.DUPLICATE)
    studies_changed = {new.study_instance_uid}
    if current is None:
        _touch(connection, studies_changed, new.received_at)
        return Recorded(StoreKind.NEW)
    _touch(connection, studies_changed | {current.study_instance_uid}, new.received_at)
    return Recorded(StoreKind.NEW_VERSION, current.path)


def _touch(connection: Connection, study_instance_uids: set[str], at: datetime) -> None:
    """Mark studies as changed; a count, not the time, tells one change from the next."""
    for uid in sorted(study_instance_uids):
        row = {
            "study_instance_uid": uid,
            "changed_at": at,
            "changes": 1,
            "assessed_changes": 0,
        }
        connection.execute(_TOUCH, row)


def assess_again(connection: Connection, which: ColumnElement[bool]) -> None:
    """Have the studies that fulfil `which` looked at again, though no instance of them changed."""
    connection.execute(update(studies).where(which).values(changes=studies.c.changes + 1))
