// Objects of bioseg in QuPath: adds to an image the annotations that `bioseg predict --objects` wrote for it, with the
// names and colours of their classes and their measurements, and shows the classes in the list of the project.
//
// usage: put the folder `objects` of the prediction into the folder of the project, open an image, then
// Automate > Script editor > Run, or Run > Run for project. Another folder: set it in the first line below, or
// QuPath script --project project.qpproj --args /data/predicted/objects --save import_objects.groovy
//
// Annotations that an earlier run of this script added are replaced; what was drawn by hand stays.

import qupath.lib.io.PathIO

def folder = args ? args[0] : buildFilePath(PROJECT_BASE_DIR, 'objects')
def name = getProjectEntry().getImageName()
def stem = name.replaceFirst(/\.[^.]+$/, '').replaceFirst(/(?i)\.ome$/, '')
def file = new File(folder, stem + '.geojson')
if (!file.isFile()) {
    println "${name}: there is no ${file}"
    return
}

def mark = 'bioseg' // a key of the metadata of each annotation, by which an earlier import is found
removeObjects(getAnnotationObjects().findAll { it.getMetadata().containsKey(mark) }, true)

def objects = PathIO.readObjects(file.toPath())
objects.each { it.getMetadata().put(mark, file.name) }
addObjects(objects)

def classes = objects.collect { it.getPathClass() }.findAll { it != null }.unique()
def known = getProject().getPathClasses()
def added = classes.findAll { !known.contains(it) }
if (added) {
    getProject().setPathClasses(known + added)
}
fireHierarchyUpdate()
classes.each { kind -> println "${name}: ${objects.count { it.getPathClass() == kind }} x ${kind}" }
