/* pickle_view.h - from the values of a pickle to the tensors and texts of a tensor_file; private to formats/. */
#ifndef KILN_FORMATS_PICKLE_VIEW_H
#define KILN_FORMATS_PICKLE_VIEW_H

#include "formats/pickle.h"
#include "formats/tensor_file_parts.h"

/* Tells where the bytes of a storage are: fills offset, storage or bytes of the entry for its element 0. */
typedef kiln_status (*storage_finder)(void *self, tensor_file *file, const pickle_storage *storage,
                                      tensor_entry *entry, kiln_error *err);

/* Fill the file's entries and values from the pickle's root. */
kiln_status pickle_view(tensor_file *file, pickle_value *root, storage_finder find, void *self,
                        kiln_error *err);

#endif
