"""The data model: grids, series, sites, sensors, dates. It opens no file."""
