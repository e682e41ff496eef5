"""Side-by-side measurements of `fab run` and of other ways to do the same: script/bench runs them."""
