"""The one settings schema of the node.

Each class is one TOML table of the configuration file; `config/default.toml` documents every key
and is tested to hold exactly these defaults.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)

from config.quality import CineQualitySettings, LgeQualitySettings
from config.table import Table


def _ae_title(value: str) -> str:
    """Check an AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2, VR AE)."""
    title = value.strip()
    if not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]{1,16}", title):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def _network(value: str) -> str:
    """Check an address or network in CIDR notation."""
    ipaddress.ip_network(value, strict=False)
    return value


def _host(value: str) -> str:
    """Check a host name or address as far as it can be asked for at all."""
    try:
        value.encode("idna")
    except UnicodeError:
        value = ""
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,253}", value):
        raise ValueError("not a host name or address")
    return value


def _text(value: str) -> str:
    """Check text that stands in DICOM objects (PS3.5 6.2, VR LO and SH)."""
    if not value.replace("\\", "\0").isprintable():
        raise ValueError("no backslash and no control characters are allowed")
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: 'Europe', a folder
        raise ValueError("not an IANA time zone such as 'Europe/Berlin'") from error
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
RegularExpression = Annotated[str, AfterValidator(_regular_expression)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, AfterValidator(_host)]
Text = Annotated[str, AfterValidator(_text)]
# Times that can be added to any date: a year, a century.
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
SecondsOrNone = Annotated[float, Field(ge=0, le=31_536_000)]
Days = Annotated[float, Field(gt=0, le=36_500)]
DaysOrNone = Annotated[float, Field(ge=0, le=36_500)]
OptionalFolder = Annotated[Path | None, BeforeValidator(lambda value: value or None)]


class NodeSettings(Table):
    """`[node]`: how the node presents itself on the DICOM network."""

    ae_title: AETitle = "CARDIACCAD"
    host: Host = "0.0.0.0"  # noqa: S104 - a hospital node listens on its network by default
    port: Port = 11112
    check_called_ae_title: bool = True
    accept_unknown_peers: bool = False
    max_associations: PositiveInt = 25
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    max_instance_mb: PositiveInt = 1024
    acse_timeout_s: Seconds = 30
    dimse_timeout_s: Seconds = 60
    network_timeout_s: Seconds = 60


class PeerSettings(Table):
    """`[[peers]]`: a DICOM peer that may open associations to the node."""

    ae_title: AETitle
    addresses: tuple[Network, ...] = ()
    query_host: Host | None = None
    query_port: Port | None = None

    @model_validator(mode="after")
    def _query_is_whole(self) -> Self:
        if (self.query_host is None) != (self.query_port is None):
            raise ValueError("query_host and query_port are given together or not at all")
        return self


class StorageSettings(Table):
    """`[storage]`: where studies and the database lie, and how long originals are kept."""

    folder: Path = Path("dicom-node-data")
    delete_delivered_after_days: DaysOrNone = 7
    delete_unused_after_days: DaysOrNone = 30
    warn_free_mb: NonNegativeFloat = 5000
    refuse_free_mb: NonNegativeFloat = 1000


class CompletionSettings(Table):
    """`[completion]`: when a stack counts as complete."""

    quiet_s: Seconds = 60
    early_start: bool = True
    settle_s: SecondsOrNone = 1.0
    min_slices: Annotated[int, Field(ge=3)] = 6
    sweep_interval_s: Seconds = 0.5


class RouteSettings(Table):
    """`[[routes]]`: header rules that propose a pipeline; the first that matches wins."""

    pipeline: str
    modality: tuple[str, ...] = ("MR",)
    series_description: RegularExpression = ""
    exclude_series_description: RegularExpression = ""
    exclude_image_types: tuple[str, ...] = ("DERIVED", "P", "PHASE MAP", "VELOCITY MAP", "VELOCITY")
    source_ae_titles: tuple[AETitle, ...] = ()
    undescribed_with_inversion_time: bool = False


class NeededNetwork(NamedTuple):
    """A network that a pipeline needs: its name, and the task that its card must state."""

    name: str
    task: str


LOCALISER = "localiser"
"""The slice classifier that is no network of its own: the localiser tells which show the LV."""

LV_AREA_CURVE = "lv_area_curve"
"""The detector that is no network: ED and ES are read from the curve of the segmented LV area."""


NO_NETWORK = "none"
"""The disease classifier that is none: no disease group is told."""


class CineSettings(Table):
    """`[pipelines.cine]`: the cine short-axis chain.

    A disease classifier is for research alone and needs `allow_research_models`.
    """

    enabled: bool = True
    localiser: str = "heart_localiser"
    slice_classifier: str = LOCALISER
    segmenter: str = "cine_residual_unet"
    volume_method: Literal["segmentation", "regression"] = "segmentation"
    regressor: str = "cine_volume_regression"
    detector: str = LV_AREA_CURVE
    disease_classifier: str = NO_NETWORK
    min_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.6
    relevance_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_phases_for_detection: Annotated[int, Field(ge=2)] = 8
    max_missing_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    quality: CineQualitySettings = CineQualitySettings()

    @property
    def networks(self) -> tuple[NeededNetwork, ...]:
        """The networks that take part."""
        detector = () if self.detector == LV_AREA_CURVE else (self.detector,)
        regressor = (self.regressor,) if self.volume_method == "regression" else ()
        disease = () if self.disease_classifier == NO_NETWORK else (self.disease_classifier,)
        return (
            *_of_slices(self.localiser, self.slice_classifier),
            NeededNetwork(self.segmenter, "segmentation"),
            *(NeededNetwork(name, "ed_es_detection") for name in detector),
            *(NeededNetwork(name, "volume_regression") for name in regressor),
            *(NeededNetwork(name, "disease_classification") for name in disease),
        )


class LgeSettings(Table):
    """`[pipelines.lge]`: the late enhancement short-axis chain."""

    enabled: bool = True
    localiser: str = "lge_localiser"
    slice_classifier: str = "lge_slices"
    segmenter: str = "lge_scar"
    relevance_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    quality: LgeQualitySettings = LgeQualitySettings()

    @property
    def networks(self) -> tuple[NeededNetwork, ...]:
        """The networks that take part."""
        return (
            *_of_slices(self.localiser, self.slice_classifier),
            NeededNetwork(self.segmenter, "scar_segmentation"),
        )


class ClassifierSettings(Table):
    """`[pipelines.ecg]`, `[pipelines.spect]`: one network that tells classes; for research alone.

    It needs `allow_research_models`.
    """

    enabled: bool = False
    network: str
    min_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.6


class EcgSettings(ClassifierSettings):
    """`[pipelines.ecg]`: what a 12-lead ECG shows."""

    network: str = "ecg_dual_branch"

    @property
    def networks(self) -> tuple[NeededNetwork, ...]:
        """The networks that take part."""
        return (NeededNetwork(self.network, "ecg_classification"),)


class SpectSettings(ClassifierSettings):
    """`[pipelines.spect]`: what perfusion SPECT of stress and rest shows."""

    network: str = "spect_mobilenet"

    @property
    def networks(self) -> tuple[NeededNetwork, ...]:
        """The networks that take part."""
        return (NeededNetwork(self.network, "perfusion_classification"),)


def _of_slices(localiser: str, classifier: str) -> tuple[NeededNetwork, ...]:
    """What finds the heart, and what tells the slices that show it."""
    named = () if classifier == LOCALISER else (classifier,)
    return (
        NeededNetwork(localiser, "localisation"),
        *(NeededNetwork(name, "slice_classification") for name in named),
    )


class PipelinesSettings(Table):
    """`[pipelines.*]`: one table per pipeline."""

    cine: CineSettings = CineSettings()
    lge: LgeSettings = LgeSettings()
    ecg: EcgSettings = EcgSettings()
    spect: SpectSettings = SpectSettings()

    @property
    def networks(self) -> tuple[NeededNetwork, ...]:
        """The networks of the enabled pipelines, each once."""
        tables = (self.cine, self.lge, self.ecg, self.spect)
        enabled = [table for table in tables if table.enabled]
        return tuple(dict.fromkeys(one for table in enabled for one in table.networks))


Profile = Literal["full", "display", "legacy"]
"""What is sent: SEG and report; what OHIF-like viewers show; an image and a PDF."""

PROFILES: tuple[Profile, ...] = get_args(Profile)
DEFAULT_PROFILES: tuple[Profile, ...] = ("full", "legacy")


class DestinationSettings(Table):
    """`[[destinations]]`: a DICOM peer that gets the results by C-STORE."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    ae_title: AETitle
    host: Host
    port: Port
    calling_ae_title: AETitle | None = None
    source_ae_titles: tuple[AETitle, ...] = ()
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)] = DEFAULT_PROFILES
    retry_first_s: Seconds = 10
    retry_max_s: Seconds = 14_400
    give_up_after_days: Days = 7


class WorkerSettings(Table):
    """`[worker]`: where and how the networks run."""

    weights_folder: OptionalFolder = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    job_time_limit_s: Seconds = 900
    lease_s: Seconds = 60
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 3
    retry_first_s: SecondsOrNone = 5


class LogSettings(Table):
    """`[log]`: structured log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class SiteSettings(Table):
    """`[site]`: what the results say of the place they come from."""

    timezone: TimeZone = "UTC"
    institution: Annotated[Text, Field(max_length=64)] = ""
    station_name: Annotated[Text, Field(max_length=16)] = ""


CINE_ROUTE = RouteSettings(
    pipeline="cine",
    exclude_series_description=(
        r"(?i)\b([234] ?-?ch(amber)?|lax|long axis|lvot|rvot|t[12]|flow|tag|perf|lge|de|psir|scout"
        r"|loc)"
    ),
)

LGE_ROUTE = RouteSettings(
    pipeline="lge",
    series_description=(
        r"(?i)lge|de-?cmr|late.?(gad|enh)|psir|delayed|(?<![a-z])(de_|(ps)?mde(?![a-z]))"
    ),
    exclude_series_description=(
        r"(?i)(?<![a-z0-9])([234] ?-?ch(amber)?|lax|long.axis|lvot|rvot|t[12](?![0-9])|molli"
        r"|cine|flow|tag|perf|ege|early|scout|ti.?scout|loc)"
    ),
    undescribed_with_inversion_time=True,
)

# A network that learned from patients at rest knows nothing of these.
_NOT_AT_REST = r"(?i)holter|(?<![a-z])(stress|exercise|treadmill|ergo|belastung|langzeit)"

ECG_ROUTE = RouteSettings(
    pipeline="ecg",
    modality=("ECG",),
    exclude_series_description=_NOT_AT_REST,
    exclude_image_types=(),
)

ECG_PICTURE_ROUTE = RouteSettings(
    pipeline="ecg",
    modality=("OT", "SC", "HC", "DOC"),
    series_description=r"(?i)(?<![a-z])(ecg|ekg|electrocardiogra)",
    exclude_series_description=_NOT_AT_REST,
    exclude_image_types=(),
)

SPECT_ROUTE = RouteSettings(pipeline="spect", modality=("NM",), exclude_image_types=())

SPECT_PICTURE_ROUTE = RouteSettings(
    pipeline="spect",
    modality=("NM", "OT", "SC"),
    series_description=r"(?i)(?<![a-z])(spect|mpi|myocardial.perfusion)(?![a-z])",
    exclude_image_types=(),
)


class Settings(Table):
    """All settings of the node."""

    allow_research_models: bool = False
    node: NodeSettings = NodeSettings()
    peers: tuple[PeerSettings, ...] = ()
    storage: StorageSettings = StorageSettings()
    completion: CompletionSettings = CompletionSettings()
    routes: tuple[RouteSettings, ...] = (
        *(CINE_ROUTE, LGE_ROUTE),
        *(ECG_ROUTE, ECG_PICTURE_ROUTE, SPECT_ROUTE, SPECT_PICTURE_ROUTE),
    )
    pipelines: PipelinesSettings = PipelinesSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    worker: WorkerSettings = WorkerSettings()
    log: LogSettings = LogSettings()
    site: SiteSettings = SiteSettings()

    @property
    def active_routes(self) -> tuple[RouteSettings, ...]:
        """Routes to the pipelines that are enabled."""
        return tuple(
            route for route in self.routes if getattr(self.pipelines, route.pipeline).enabled
        )

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Output profiles that at least one destination gets; the default where there is none."""
        wanted = [profile for one in self.destinations for profile in one.profiles]
        return tuple(dict.fromkeys(wanted or DEFAULT_PROFILES))

    @model_validator(mode="after")
    def _research_is_allowed(self) -> Self:
        cine = self.pipelines.cine
        if cine.enabled and cine.disease_classifier != NO_NETWORK:
            self._need_research("cine.disease_classifier")
        for name in PipelinesSettings.model_fields:
            table = getattr(self.pipelines, name)
            if not isinstance(table, ClassifierSettings) or not table.enabled:
                continue
            self._need_research(f"{name}.enabled")
            if all(route.pipeline != name for route in self.routes):
                raise ValueError(
                    f"pipelines.{name}.enabled: no [[routes]] of the file leads to it; "
                    "config/default.toml has those that do"
                )
        return self

    def _need_research(self, key: str) -> None:
        if not self.allow_research_models:
            raise ValueError(
                f"pipelines.{key}: its network is for research alone and not "
                "validated; it needs allow_research_models = true, above all tables"
            )

    @model_validator(mode="after")
    def _references_hold(self) -> Self:
        known = set(PipelinesSettings.model_fields)
        for route in self.routes:
            if route.pipeline not in known:
                allowed = ", ".join(sorted(known))
                raise ValueError(f"routes: no pipeline '{route.pipeline}'; allowed: {allowed}")
        names = [destination.name for destination in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("destinations: each name may stand only once")
        own = {self.node.host, "localhost", "127.0.0.1", "::1"}
        for destination in self.destinations:
            if destination.host in own and destination.port == self.node.port:
                raise ValueError(f"destinations: '{destination.name}' is the node itself")
        return self
