"""The U-Net, its heads, and the saved model: weights with all that prediction needs to know."""
