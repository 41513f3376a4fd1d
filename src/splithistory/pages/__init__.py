"""How the book is made: chapters executed and rendered, figures, findings, and the claims judged."""
