"""Making networks smaller whatever their precision: pruning, clustering, joining equal weights, simplification."""
