"""How a long run behaves: files that appear whole, a journal to resume from, progress, workers."""
