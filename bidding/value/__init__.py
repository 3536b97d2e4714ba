"""What an impression or a click is worth: response models, calibration, conversions that come late."""
