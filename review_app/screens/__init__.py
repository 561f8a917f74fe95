"""The five screens; thin over the service and the desks."""
