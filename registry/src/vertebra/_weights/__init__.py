"""From files to variables without a copy: abstract build, reading, matching, placing."""
