"""Tests of the converter of published weights."""
