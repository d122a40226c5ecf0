"""The HTTP faces of the service: this platform's own JSON, the Open Inference Protocol, and the operators' pages."""
