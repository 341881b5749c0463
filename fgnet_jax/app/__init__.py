"""The page in the browser: its command (`__main__`), its components (`page`) and their content (`view`)."""
