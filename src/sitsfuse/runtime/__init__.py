"""Threads, memory, devices, files and progress: how a run behaves on a machine."""
