"""Landscapes: covers, parcels, relief, seasons."""
