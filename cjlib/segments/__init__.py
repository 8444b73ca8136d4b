"""Who the customers are: RFM segments, behaviour clusters, journey types, and their profiles."""
