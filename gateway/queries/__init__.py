"""Every read of the gateway: named SQL blocks with their tenant, and what their rows mean. No writes of views."""
