"""What a person sees and says (arrives with the review queue)."""
