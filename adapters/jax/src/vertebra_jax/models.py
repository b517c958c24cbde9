"""The base class of backbones on JAX: Keras's own class, without changes."""

import keras

JaxModel = keras.Model
