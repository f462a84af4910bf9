"""The disease groups that ACDC knows, by the names a card and the findings have for them."""

from collections.abc import Mapping

GROUPS: Mapping[str, str] = {
    "NOR": "normal",
    "MINF": "infarction",
    "DCM": "dilated_cardiomyopathy",
    "HCM": "hypertrophic_cardiomyopathy",
    "RV": "abnormal_right_ventricle",
}
"""As ACDC writes them: ours."""
CLASSES = tuple(GROUPS.values())
