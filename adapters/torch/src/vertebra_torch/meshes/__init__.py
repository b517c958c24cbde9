"""Backbones whose weights are divided among the processes of a `torch.distributed.device_mesh.DeviceMesh`."""
