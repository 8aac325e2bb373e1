"""The two UNets as plain modules. Their state-dict keys are the published ones (docs/model.md)."""

from model.networks.config import FULL, TINY, UNetConfig
from model.networks.denoising_unet import DenoisingUNet
from model.networks.mouth_mask import MouthRegion, mouth_mask, mouth_region
from model.networks.reference_features import ReferenceFeatures
from model.networks.reference_unet import ReferenceUNet

__all__ = [
    "FULL",
    "TINY",
    "DenoisingUNet",
    "MouthRegion",
    "ReferenceFeatures",
    "ReferenceUNet",
    "UNetConfig",
    "mouth_mask",
    "mouth_region",
]
