# What is installed: the command, libkiln.so and libkiln.a, the header, kiln.pc, the manual page, shared data.
#
# A program that uses libkiln sees kiln_* and nothing else. The shared library hides the rest by a version script; for
# the static one all objects are linked into one first, and its other symbols are made local to it. The internal target
# `kiln` keeps them: tests look inside.
include(GNUInstallDirs)

if(NOT KILN_SANITIZE)
    add_library(kiln_shared SHARED ${KILN_OBJECTS})
    target_link_libraries(kiln_shared PRIVATE ${KILN_LIBRARIES})
    target_link_options(kiln_shared PRIVATE -Wl,--no-undefined
        -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/kiln.map)
    set_target_properties(kiln_shared PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/kiln.map)
    set_target_properties(kiln_shared PROPERTIES OUTPUT_NAME kiln VERSION ${PROJECT_VERSION} SOVERSION 0
        LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib LINKER_LANGUAGE C)

    set(closed ${PROJECT_BINARY_DIR}/lib/libkiln.a)
    add_custom_command(OUTPUT ${closed}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/lib
        COMMAND ${CMAKE_LINKER} -r -o ${PROJECT_BINARY_DIR}/lib/kiln.o ${KILN_OBJECTS}
        COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=kiln_* ${PROJECT_BINARY_DIR}/lib/kiln.o
        COMMAND ${CMAKE_COMMAND} -E rm -f ${closed}
        COMMAND ${CMAKE_AR} rcs ${closed} ${PROJECT_BINARY_DIR}/lib/kiln.o
        DEPENDS ${KILN_OBJECTS} COMMAND_EXPAND_LISTS VERBATIM COMMENT "Closing libkiln.a")
    add_custom_target(kiln_closed ALL DEPENDS ${closed})

    configure_file(${PROJECT_SOURCE_DIR}/cmake/kiln.pc.in ${PROJECT_BINARY_DIR}/kiln.pc @ONLY)
    install(TARGETS kiln_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(FILES ${closed} DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(FILES ${PROJECT_BINARY_DIR}/kiln.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

if(TARGET kiln_command)
    install(TARGETS kiln_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES ${PROJECT_SOURCE_DIR}/include/kiln/kiln.h ${PROJECT_SOURCE_DIR}/include/kiln/train.h
    ${PROJECT_SOURCE_DIR}/include/kiln/edit.h ${PROJECT_SOURCE_DIR}/include/kiln/upscale.h ${PROJECT_SOURCE_DIR}/include/kiln/vision.h
    ${PROJECT_SOURCE_DIR}/include/kiln/prompt.h ${PROJECT_SOURCE_DIR}/include/kiln/sheet.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kiln)
install(FILES ${PROJECT_SOURCE_DIR}/docs/kiln.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(DIRECTORY DESTINATION ${CMAKE_INSTALL_DATADIR}/kiln)
if(EXISTS ${PROJECT_SOURCE_DIR}/models/upscale-2x/diffusion_pytorch_model.safetensors)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/upscale-2x DESTINATION ${CMAKE_INSTALL_DATADIR}/kiln/models
        PATTERN recipes EXCLUDE)
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/data)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/ DESTINATION ${CMAKE_INSTALL_DATADIR}/kiln)
endif()
