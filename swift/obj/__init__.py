"""Objects as files on disk: layout, metadata, reader, writer, storage server and daemons."""
