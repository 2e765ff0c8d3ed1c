"""The runbook's own steps, which carry the run on: what holds is proven again, Steps 4 and 5 are done anew."""

from runbook.test_step_0_snapshot import TestStep0Snapshot
from runbook.test_step_1_stop import TestStep1Stop
from runbook.test_step_2_generate import TestStep2Generate
from runbook.test_step_3_distribute import TestStep3Distribute
from runbook.test_step_4_restore import TestStep4Restore
from runbook.test_step_5_power_on import TestStep5PowerOn

__all__ = [
    "TestStep0Snapshot",
    "TestStep1Stop",
    "TestStep2Generate",
    "TestStep3Distribute",
    "TestStep4Restore",
    "TestStep5PowerOn",
]
