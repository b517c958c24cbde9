"""The class that backbones derive from: Keras's own has all that users of JAX expect."""

import keras

JaxModel = keras.Model
