"""The plugins that come with ngpu, one a file; other distributions add theirs to this package's path."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
