"""LightGBM: fitted by SynapseML or in one process, scored by native code or by its own library."""
