"""LightGBM: fitted by SynapseML or in one process, scored compiled or by its own library."""
