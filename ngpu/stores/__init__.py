"""Where task records are kept: one package or module an implementation of `ngpu.interfaces.ITaskStore`."""
