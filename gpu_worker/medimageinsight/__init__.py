"""MedImageInsight: as an endpoint of Azure Machine Learning, or as a model folder on this node."""
