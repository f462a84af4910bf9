"""Version of the installed product, as the results and the log name it."""

from importlib.metadata import version

SOFTWARE_VERSION = version("dicom-node")
