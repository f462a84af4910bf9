"""ECG that are measured: WFDB records, and pictures of sheets in folders named by class.

Records as the PhysioNet/CinC Challenge 2021 publishes them (Reyna et al. 2021,
doi:10.22489/CinC.2021.236): `<name>.hea` beside `<name>.mat`, signals in WFDB format 16, SNOMED CT
codes in the line `# Dx:`. They are looked for below `ecg` of the data folder. A record is

- normal, when sinus rhythm is all that was coded;
- an abnormal heartbeat, when a code names a rhythm, an ectopic beat or a conduction block;
- an acute infarction or the history of one, when a code says so; it is nothing else then;
- left out otherwise: hypertrophy, ischaemia or a long QT are neither of the four.

Pictures as in the public four-folder set (Khan et al. 2021, doi:10.1016/j.dib.2021.106762), below
`ecg_images`: the name of a folder says the class of the pictures in it.

No file names a patient, so a record stands for one. `models.split.part_of_name` gives its part.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.ecg_leads import LEADS
from models.ecg_sheet import SECONDS
from models.split import Part, part_of_name
from models.synthetic.ecg import ABNORMAL, ACUTE, NORMAL, OLD
from models.training.cases import CaseError

_SINUS_RHYTHM = 426783006
_INFARCTION: Mapping[int, int] = {
    57054005: ACUTE,
    54329005: ACUTE,  # of the anterior wall
    73795002: ACUTE,  # of the inferior wall
    1755008: OLD,
}
_ABNORMAL = frozenset(
    {
        426177001,  # sinus bradycardia
        427084000,  # sinus tachycardia
        427393009,  # sinus arrhythmia
        164889003,  # atrial fibrillation
        164890007,  # atrial flutter
        713422000,  # atrial tachycardia
        426761007,  # supraventricular tachycardia
        284470004,  # premature atrial contraction
        63593006,  # supraventricular premature beats
        251170000,  # blocked premature atrial contraction
        427172004,  # premature ventricular contractions
        17338001,  # ventricular premature beats
        164884008,  # ventricular ectopics
        270492004,  # first degree AV block
        195042002,  # second degree AV block
        27885002,  # complete heart block
        59118001,  # right bundle branch block
        713427006,  # complete right bundle branch block
        713426002,  # incomplete right bundle branch block
        164909002,  # left bundle branch block
        733534002,  # complete left bundle branch block
        698252002,  # nonspecific intraventricular conduction disorder
        10370003,  # pacing rhythm
    }
)
_SIGNAL = re.compile(
    r"(\S+) 16(?:x1)?(?:\+(\d+))? (\S+?)(?:\((-?\d+)\))?/mv .* (\S+)$", re.IGNORECASE
)
_INVALID = -32768
_WIDEST = 640  # pixels of a picture that are kept
_FOLDERS = (  # what the name of a folder holds, the first that fits
    ("history", OLD),
    ("abnormal", ABNORMAL),
    ("myocardial", ACUTE),
    ("infarction", ACUTE),
    ("normal", NORMAL),
)


@dataclass(frozen=True, slots=True)
class EcgCase:
    """A record or a picture of a sheet, its class known.

    Attributes
    ----------
    label : int
        Index in `models.ecg_sheet.CLASSES`.
    dataset, patient : str
        Patient: name of the record or of the picture.
    hz : float
        Samples per second of the record.
    microvolts : int16 [12, samples] or None
        The record, in the order of `models.ecg_leads.LEADS`.
    picture : uint8 [y, x, 3] or None
        Where there is no record.
    group : str
        What the class is due to, where it is known.
    """

    label: int
    dataset: str
    patient: str
    hz: float = 0.0
    microvolts: npt.NDArray[np.int16] | None = None
    picture: npt.NDArray[np.uint8] | None = None
    group: str = ""


def record_names(data: Path, part: Part) -> tuple[str, ...]:
    """Paths of the records of a part, relative to `ecg`, without suffix, sorted."""
    found = (data / "ecg").rglob("*.hea")
    names = sorted(path.relative_to(data / "ecg").with_suffix("").as_posix() for path in found)
    return tuple(name for name in names if part_of_name(Path(name).name) == part)


def records_are_there(data: Path) -> bool:
    """Whether a record lies below a data folder."""
    return next((data / "ecg").rglob("*.hea"), None) is not None


def read_record(data: Path, name: str) -> EcgCase:
    """Read a record.

    Raises
    ------
    CaseError
        It is not there, cannot be read, has not twelve leads of ten seconds, or shows neither of
        the four classes.
    """
    path = data / "ecg" / f"{name}.hea"
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
        label, codes = _label(lines)
        microvolts, hz = _signals(path.parent, lines)
    except (OSError, ValueError, IndexError) as error:
        raise CaseError(f"its files cannot be read ({type(error).__name__})") from error
    if microvolts.shape[1] < SECONDS * hz:
        raise CaseError(f"it is shorter than {SECONDS:g} seconds")
    return EcgCase(label, "ecg", Path(name).name, hz, microvolts, group=codes)


def _label(lines: list[str]) -> tuple[int, str]:
    stated = next(
        (line.split(":")[1] for line in lines if line.replace(" ", "").startswith("#Dx:")), ""
    )
    codes = {int(code) for code in stated.split(",") if code.strip().isdigit()}
    shown = ",".join(str(code) for code in sorted(codes))
    infarcts = {_INFARCTION[code] for code in codes & _INFARCTION.keys()}
    if len(infarcts) == 1:
        return infarcts.pop(), shown
    if codes == {_SINUS_RHYTHM}:
        return NORMAL, shown
    if codes & _ABNORMAL and not infarcts:
        return ABNORMAL, shown
    raise CaseError(f"its codes are neither of the four classes: {shown or 'none'}")


def _signals(folder: Path, lines: list[str]) -> tuple[npt.NDArray[np.int16], float]:
    """Leads in microvolts [12, samples], in our order, and the rate."""
    _, count, rate, samples = lines[0].split()[:4]
    matches = [_SIGNAL.match(line.strip()) for line in lines[1 : 1 + int(count)]]
    described = [match.groups() for match in matches if match]
    names = [entry[-1].upper() for entry in described]
    missing = [lead for lead in LEADS if lead.upper() not in names]
    if missing:
        raise CaseError(f"leads are missing or in another format: {', '.join(missing)}")
    file, offset = described[0][0], int(described[0][1] or 0)
    stored = np.fromfile(folder / file, "<i2", offset=offset)[: int(count) * int(samples)]
    table = stored.reshape(-1, int(count)).T.astype(np.float64)
    if len(table[0]) < int(samples) or (table == _INVALID).any():
        raise CaseError("samples are missing")
    leads = []
    for lead in LEADS:
        row = names.index(lead.upper())
        gain, baseline = float(described[row][2]), float(described[row][3] or 0)
        leads.append((table[row] - baseline) / gain * 1000)
    return np.clip(np.round(leads), -32767, 32767).astype(np.int16), float(rate.split("/")[0])


def picture_names(data: Path, part: Part) -> tuple[str, ...]:
    """Paths of the pictures of a part, relative to `ecg_images`, sorted."""
    root = data / "ecg_images"
    found = (path for path in root.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    names = sorted(path.relative_to(root).as_posix() for path in found)
    return tuple(name for name in names if part_of_name(name) == part)


def pictures_are_there(data: Path) -> bool:
    """Whether folders of pictures lie below a data folder."""
    return (data / "ecg_images").is_dir()


def read_picture(data: Path, name: str) -> EcgCase:
    """Read a picture, reduced to what the network could see of it.

    Raises
    ------
    CaseError
        It cannot be read, or its folder names no class.
    """
    from PIL import Image

    folder = name.split("/", maxsplit=1)[0].lower()
    labels = [label for word, label in _FOLDERS if word in folder]
    if not labels:
        raise CaseError("its folder names none of the four classes")
    try:
        with Image.open(data / "ecg_images" / name) as image:
            image.thumbnail((_WIDEST, _WIDEST), Image.Resampling.BICUBIC)
            picture = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise CaseError("it cannot be read") from error
    return EcgCase(labels[0], "ecg_images", name, picture=picture)


def beats_of(microvolts: npt.NDArray[np.int16], hz: float) -> npt.NDArray[np.float64]:
    """Times of the R waves of a record, in seconds: where all leads together are steepest.

    Steepness is the change over 10 ms, averaged over 80 ms; a beat is the highest place within
    0.3 s that reaches a quarter of what the steepest fiftieth of the record reaches.
    """
    lag = max(round(0.01 * hz), 1)
    values = microvolts.astype(np.float64)
    steep = np.abs(values[:, lag:] - values[:, :-lag]).sum(axis=0)
    window = max(round(0.08 * hz), 1)
    smooth = np.convolve(steep, np.ones(window) / window, "same")
    threshold, apart = 0.25 * np.quantile(smooth, 0.98), round(0.3 * hz)
    return peaks_of(smooth, float(threshold), apart) / hz


def peaks_of(
    curve: npt.NDArray[np.float64], threshold: float, apart: int
) -> npt.NDArray[np.float64]:
    """Places of a curve over a threshold that are the highest within so many samples."""
    return np.array(
        [
            place
            for place in np.nonzero(curve > threshold)[0].tolist()
            if curve[place] == curve[max(place - apart, 0) : place + apart + 1].max()
        ],
        dtype=np.float64,
    )
