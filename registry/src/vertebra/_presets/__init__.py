"""Operations on presets: load, save, convert, inspect, plan, publish, bundle and lock."""
