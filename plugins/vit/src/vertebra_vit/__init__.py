"""ViT and DINOv2 for Vertebra."""
