"""BasicSR's pipelines for training and testing, made safe."""
