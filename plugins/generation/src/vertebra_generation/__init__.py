"""Text generation for Vertebra."""
