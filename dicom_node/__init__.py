"""The DICOM node: what speaks DICOM on the wire, the worker and the command line."""
