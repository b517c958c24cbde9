"""Examples to train on: texts, completions of prompts, and chats."""
