"""Models: architectures, registry, weights, prediction, training and synthetic data."""

import os

# Threads of the networks that wait must not burn a core that another process could use: on a busy
# machine that made a study take two to four times as long. Set before torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
