// The version of holdfast, and what it is built on: the build reads it here. No code.
#pragma once

#include <boost/version.hpp>

#if BOOST_VERSION < 108100
#error "holdfast needs Boost 1.81 or newer: this Boost is older (see BOOST_LIB_VERSION)"
#endif

#define HOLDFAST_VERSION_MAJOR 0
#define HOLDFAST_VERSION_MINOR 2
#define HOLDFAST_VERSION_PATCH 0
#define HOLDFAST_VERSION "0.2.0"
